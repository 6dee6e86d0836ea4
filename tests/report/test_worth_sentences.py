"""What a decision was worth is said in whole sentences, the answer first."""

from __future__ import annotations

from assay.report.worth import losses, sentences
from assay.runs.documents import AtCapital, Baseline, Capacity, Exposure, Legs, Lots, Worth


def baseline(
    wealth: float, ahead: float | None, low: float | None = None, high: float | None = None, **told
) -> Baseline:
    clearly = low is not None and (high < 0 if ahead < 0 else low > 0)
    told = {"sharpe": 0.63, "max_drawdown": -0.7, "lost": False, "loses": ahead is None or ahead < 0} | told
    return Baseline(final_wealth=wealth, ahead=ahead, ahead_low=low, ahead_high=high, clearly=clearly, **told)


def document(**told) -> Worth:
    plain = {
        "risk_profile": "hrp",
        "first": "2021-07-11",
        "last": "2024-06-28",
        "days": 1084,
        "final_wealth": 1.14,
        "sharpe": 0.41,
        "mean_gross": 0.683,
        "baselines": {
            "benchmark": baseline(1.80, -0.154, -0.55, 0.24),
            "candidates": baseline(0.27, 0.485, 0.1, 0.9),
            "winners": baseline(0.67, 0.179, -0.1, 0.5),
            "inverse_volatility": baseline(1.14, 0.0, -0.0, 0.0),
        },
        "exposure": Exposure(
            alpha=0.02, alpha_low=-0.3, alpha_high=0.34, beta=0.91, beta_low=0.8, beta_high=1.02, days=1084, lag=10
        ),
        "lots": Lots(
            draws=100,
            seed=0,
            decisions=1084,
            without_choice=12,
            percentile=99.5,
            sharpe=0.5,
            drawn_low=-0.4,
            drawn_median=0.1,
            drawn_high=0.45,
            cost=0.06,
            drawn_cost=0.08,
        ),
        "capacity": Capacity(
            half_spread=0.0005,
            factor=1.0,
            flat_growth=0.05,
            capacity=2e5,
            at=[
                AtCapital(capital=1e5, final_wealth=1.1, growth=0.03, orders=2000, untradable={}),
                AtCapital(
                    capital=1e6, final_wealth=0.9, growth=-0.03, orders=2000, untradable={"B:XUSDT": 3, "B:Y": 1}
                ),
            ],
        ),
        "legs": Legs(long=0.3, short=-0.01, cost=0.12, carry=0.03, total=0.14),
    }
    return Worth(**(plain | told))


def test_each_question_has_its_sentence() -> None:
    assert sentences(document()) == [
        "hrp made 1.14 of 1 on 1,084 days, 2021-07-11 to 2024-06-28, Sharpe 0.41, at a mean gross of 68.3 %.",
        (
            "It loses to the benchmark on the sleeve's side at the same gross: 1.14 against 1.80, Sharpe 0.63, "
            "-15.4 % a year in log growth (95 % from -55.0 % to +24.0 %)."
        ),
        (
            "It clearly ends above equal weight of the scanner's candidates at the same gross: 1.14 against 0.27, "
            "Sharpe 0.63, +48.5 % a year in log growth (95 % from +10.0 % to +90.0 %)."
        ),
        (
            "It ends above equal weight of the winners at the same gross: 1.14 against 0.67, Sharpe 0.63, "
            "+17.9 % a year in log growth (95 % from -10.0 % to +50.0 %)."
        ),
        "It ends where inverse volatility of the winners ends, at 1.14.",
        "Alpha to the benchmark is +2.0 % a year (95 % from -30.0 % to +34.0 %), beta 0.91 (0.80 to 1.02).",
        (
            "The selection is at percentile 99.5 of 100 draws of as many of the same candidates: Sharpe 0.50 in equal "
            "weights without costs, the draws -0.40 to 0.45 with 0.10 in the middle."
        ),
        "Turnover would have cost these winners 6.0 % a year, and a draw 8.0 %.",
        "Of the change of +14.0 %, longs made +30.0 %, shorts -1.0 %; costs took 12.0 %, borrowing 3.0 %.",
        "By a model of what orders do to prices, not a measurement, it keeps half of its growth with up to 200,000.",
        "In that model 1 becomes 1.10 with 100,000; 0.90 with 1,000,000.",
        "UNTRADABLE with 1,000,000: 4 of 2,000 orders exceed a tenth of a day's value traded, B:XUSDT (3), B:Y (1).",
    ]


def test_what_is_lost_is_named_for_the_finding() -> None:
    assert losses(document()) == ["the benchmark on the sleeve's side (1.80)"]
    clear = document(baselines={"winners": baseline(2.0, -0.5, -0.9, -0.1)})
    assert losses(clear) == ["equal weight of the winners (2.00, clearly)"]


def test_what_cannot_be_told_is_said_so() -> None:
    lots = document().lots.model_copy(update={"percentile": None, "without_choice": 700})
    capacity = document().capacity.model_copy(update={"capacity": None})
    told = sentences(document(lots=lots, exposure=None, capacity=capacity))
    assert "There was no choice: in 700 of 1,084 decisions the winners were all candidates that could be held." in told
    assert "Alpha and beta cannot be told: too few days, or a benchmark that does not move." in told
    model = "By a model of what orders do to prices, not a measurement, it has no capacity"
    assert f"{model}: without any impact it does not grow." in told
    none = document().capacity.model_copy(update={"capacity": 0.0})
    assert f"{model}: already with 1,000 it loses half of its growth." in sentences(document(capacity=none))
    ruined = sentences(document(baselines={"benchmark": baseline(-0.2, None, loses=False, lost=True)}))[1]
    assert ruined.endswith("1.14 against -0.20, Sharpe 0.63; one of the two lost everything.")
    assert sentences(document(baselines={}, lots=None, capacity=None)) == [
        "hrp held nothing on 1,084 days: there is nothing to judge."
    ]
