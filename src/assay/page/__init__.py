"""``assay serve``: a read-only page over a home folder, for people and for machines.

::

    run_list    statuses of all runs, read again only where a file changed    no web framework
    runs        one run as plain values                                       no web framework
    lakes       health of a lake, the ratings of one coin, their charts       no web framework
    resources   address -> facts; the same facts for the page and for /api
    rendering   facts -> HTML
    events      changes of the run_list, to everyone who looks
    access      what is let in, and with which headers an answer leaves
    app         all of it as one ASGI application
    server      binds, serves, stops
"""
