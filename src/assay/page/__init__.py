"""``assay serve``: a read-only page over a home folder, for people and for machines.

::

    run_list       statuses of all runs, read again only where a file changed    no web framework
    runs        one run as plain values                                       no web framework
    lakes       health of a lake, and the ratings of one coin                 no web framework
    flows       flows and comparisons                                         no web framework
    figures     the charts of a coin and of a lake
    resources   address -> facts; the same facts for the page and for /api
    rendering   facts -> HTML
    events      changes of the run_list, to everyone who looks
    guard       what is let in, and with which headers an answer leaves
    app         all of it as one ASGI application
    server      binds, serves, stops
"""
