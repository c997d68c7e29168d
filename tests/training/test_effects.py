"""Every setting does what it declares: nothing, a change in the last digits, other figures, or another shape.

A setting that nothing reads fails here, and so does one whose effect is not what it says.
"""

from small_runs import small_run

from glintiqa_jax import settings
from glintiqa_jax.training.experiment import Execution, Experiment

pytest_plugins = ["small_runs"]
BASE = small_run()
# Another value of each setting than the small run's.
OTHERS = {
    "crop_size": 48,
}


def all_settings(config):
    return {name.split(".")[-1]: field for name, field, _ in settings.settings(config)}


def test_every_setting_is_here():
    assert set(OTHERS) == set(all_settings(Experiment())) | set(all_settings(Execution()))
