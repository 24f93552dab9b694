"""Nothing that AWS leaves open is relied upon: all scenarios pass with each of its choices."""

import unittest
from pathlib import Path
from unittest import mock

from overlay import unsure

SCENARIOS = ("definitions", "scheduler", "shapes", "targets", "tasks", "transcripts")
PRODUCT = Path(__file__).parents[2] / "src"


def play():
    """What failed, and which choices were asked for."""
    names = [f"tests.test_{it}" for it in SCENARIOS]
    suite, result = unittest.defaultTestLoader.loadTestsFromNames(names), unittest.TestResult()
    with mock.patch.object(unsure, "choice", side_effect=unsure.choice) as asked:
        suite.run(result)
    failed = [said for _, said in result.failures + result.errors]
    return failed, {it.args[0] for it in asked.call_args_list}


class Unsure(unittest.TestCase):
    maxDiff = None

    def test_each_choice_is_reached(self):
        self.assertEqual(play(), ([], set(unsure.CHOICES)))

    def test_all_scenarios_pass_with_each_choice(self):
        for name, choices in unsure.CHOICES.items():
            for other in choices[1:]:
                with self.subTest(name, other=other), mock.patch.dict(unsure._chosen, {name: other}):
                    self.assertEqual(play()[0], [])

    def test_the_product_does_not_contain_a_text_of_a_choice(self):
        texts = [it for choices in unsure.CHOICES.values() for it in choices if " " in str(it)]
        sources = [file.read_text() for file in PRODUCT.rglob("*.rs")]
        self.assertTrue(texts and sources)
        for text in texts:
            self.assertFalse([it for it in sources if text.rstrip(".") in it], text)
