"""How much is sent."""

import app
from tests.hostile.archives import ARCHIVES
from tests.hostile.pictures import BROKEN, READABLE
from tests.hostile.test_calls import _VALUES, BODIES
from tests.hostile.test_files import IMAGES, PATHS
from tests.hostile.texts import MARKUP, ODD, special


def test_there_are_more_than_two_hundred_different_inputs():
    made = (READABLE, BROKEN, ODD, [MARKUP], special(), ARCHIVES, IMAGES, PATHS, BODIES)
    assert sum(map(len, made)) + len(_VALUES) * len(app.ENDPOINTS) >= 300
