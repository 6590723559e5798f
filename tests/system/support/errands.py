"""Errands for the thread of a proton container: what tests ask of a peer that runs beside them.

    errands = Errands()                          # before the container, which on_start gives it: container.selectable(errands)
    errands.trigger(ApplicationEvent("stop"))    # handled by on_stop of the container's handler
    errands.release()                            # the thread has ended
"""
import os

from proton.reactor import EventInjector


class Errands(EventInjector):
    """proton's, whose pipe would stay open as long as the process lives: after hundreds of tests in one process, a
    container has no descriptor left that its select() can take."""

    def release(self):
        for end in self.pipe:
            os.close(end)
