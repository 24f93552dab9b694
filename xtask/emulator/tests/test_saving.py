"""What is saved when the server ends."""

import unittest

from overlay import saving


class Saving(unittest.TestCase):
    def test_a_state_that_changes_meanwhile_is_copied_again(self):
        failures = [RuntimeError("dictionary changed size during iteration")] * 3

        def state():
            if failures:
                raise failures.pop()
            return {"saved": True}

        self.assertEqual(saving.patient(state)(), {"saved": True})
