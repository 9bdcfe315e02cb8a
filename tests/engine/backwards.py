"""An engine for tests. It pickles what workers would get, and gives the last result first."""

import pickle

from sneframe.engine import Engine


class Backwards(Engine):
    """Calls the function in this process, with what a worker would get, for the last item first."""

    name = "backwards"
    workers = 2
    threads = 1

    def __init__(self):
        self.ended = False

    def map_unordered(self, function, items):
        sent = pickle.dumps(function)
        try:
            for item in reversed(items):
                result = pickle.loads(sent)(pickle.loads(pickle.dumps(item)))
                yield item, pickle.loads(pickle.dumps(result))
        finally:
            self.ended = True
