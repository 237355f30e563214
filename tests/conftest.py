"""What every test shares: hypothesis never fails a test for being slow, because the machine may be."""

import hypothesis

hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")
