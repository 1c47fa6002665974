"""What the report's dial offers; how it is turned is tried in a browser (tests/browser/test_report_page.py)."""

import dataclasses
import html
import json

from analysis.front import Front, find_front
from analysis.report_dial import dial

VALUES = {"baseline": (0.71, 18.0), "baseline~t000@0.5": (0.70, 5.0), "t000": (0.64, 2.0), "t001": (0.60, 9.0)}


def front_of_four() -> Front:
    trials = [
        {
            "trial": name,
            "lam": 1e-4,
            "step_size": 0.01,
            "state": "complete",
            "validation": {"srocc": srocc, "rmse_attacked": error},
            "test": {"srocc": srocc},
        }
        for name, (srocc, error) in VALUES.items()
    ]
    return find_front("my study", trials)


def test_it_offers_the_front_only_with_what_validation_and_test_say() -> None:
    offered = json.loads(html.unescape(dial(front_of_four()).split('data-dial="')[1].split('"')[0]))
    assert {model["name"]: tuple(model["validation"]) for model in offered["models"]} == {
        name: values for name, values in VALUES.items() if name != "t001"
    }
    assert offered["models"][0]["test"] == ["0.710", "–"]
    assert [of["name"] + of["sign"] for of in offered["objectives"]] == ["srocc>=", "rmse_attacked<="]
    assert offered["command"] == "nt-study export 'my study' --at"


def test_there_is_none_where_nothing_is_to_be_chosen() -> None:
    front = front_of_four()
    assert dial(dataclasses.replace(front, doubt="not better than chance")) == ""
    assert dial(dataclasses.replace(front, members=front.members[:1])) == ""
