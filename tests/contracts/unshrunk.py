"""A plugin of pytest for tests that are meant to fail: hypothesis doesn't look for the smallest example."""

from hypothesis import Phase, settings

settings.register_profile("unshrunk", phases=(Phase.explicit, Phase.generate))
settings.load_profile("unshrunk")
