"""Models as people write them: the same small net in every kind of wrapping, some of which cannot be audited."""

import dataclasses
import types
from collections import OrderedDict, namedtuple
from functools import cache

import torch
from torch import nn

CLASSES = ("red", "green", "blue")
SHAPE = (3, 8, 8)
ROWS = 120


def images_and_labels(rows=ROWS):
    """Noise, brighter in the channel of the class."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(rows) % 3
    return torch.rand(rows, *SHAPE, generator=draw) * 0.8 + 0.1 * torch.eye(3)[y][:, :, None, None], y


class Plain(nn.Module):
    """A convolution, a ReLU in place that is used twice, and `view` by the number of rows."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(256, 3)

    def forward(self, x):
        return self.fc(self.relu(self.relu(self.conv(x)).mul(2)).view(x.size(0), -1))


@cache
def _weights():
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        net = Plain()
    x, y = images_and_labels()
    learn = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(40):
        learn.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        learn.step()
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def plain():
    net = Plain()
    net.load_state_dict(_weights())
    return net.eval()


class Wrapped(nn.Module):
    """The net with something done before or after."""

    def __init__(self, how, net=None):
        super().__init__()
        self.net, self.how = plain() if net is None else net, how

    def forward(self, x):
        return self.how(self.net, x)


def wrapped(how, net=None):
    return Wrapped(how, net).eval()


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


Pair = namedtuple("Pair", "scores maps")


class ModelOutput(OrderedDict):
    """As transformers has it: keys that are attributes."""

    __getattr__ = OrderedDict.__getitem__


class Counting(nn.Module):
    """It counts its calls, in a buffer and in an attribute."""

    def __init__(self):
        super().__init__()
        self.net, self.calls = plain(), 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.seen += len(x)
        return self.net(x)


class Silent(Plain):
    """Its `eval` returns nothing."""

    def eval(self):
        super().eval()


def silent():
    net = Silent()
    net.load_state_dict(_weights())
    net.eval()
    return net


_MEMORY = torch.zeros(1024, 3)


def _reused(logits):
    """The same memory for every batch, and the graph beside it."""
    if logits.requires_grad:
        return logits
    _MEMORY[: len(logits)] = logits
    return _MEMORY[: len(logits)]


class Compiled(Plain):
    @torch.compile(backend="eager")
    def forward(self, x):
        return super().forward(x)


def decorated():
    net = Compiled()
    net.load_state_dict(_weights())
    return net.eval()


def compiled_in_place():
    net = plain()
    net.compile(backend="eager")
    return net


def of(dtype):
    return lambda: plain().to(dtype)


def traced(rows=2):
    return torch.jit.trace(plain(), torch.rand(rows, *SHAPE))


def spectral():
    """Its weights are computed at each pass, and no leaf is left to be copied by old weight normalisation."""
    net = plain()
    nn.utils.parametrizations.weight_norm(net.fc)
    return net


class Rounding(Wrapped):
    """Other last bits each time; with `tie` they decide between two classes."""

    def __init__(self, size=2e-7, *, tie=False):
        super().__init__(None)
        self.calls, self.size, self.tie = 0, size, tie

    def forward(self, x):
        self.calls += 1
        z = self.net(x)
        if self.tie:
            z = torch.stack([z[:, 0], z[:, 0], z[:, 0] - 1], dim=1) + 8
        by = 1 + self.size * (self.calls % 3)
        return torch.cat([z[:, :1] * by, z[:, 1:]], dim=1) if self.tie else z * by


WORK = {
    "view by the number of rows": plain,
    "writes into its input": lambda: wrapped(lambda n, x: n(x.sub_(0.5).add_(0.5))),
    "a tuple": lambda: wrapped(lambda n, x: (n(x), x)),
    "a list": lambda: wrapped(lambda n, x: [x.mean(), n(x)]),
    "a namedtuple": lambda: wrapped(lambda n, x: Pair(n(x), n.conv(x))),
    "a dict": lambda: wrapped(lambda n, x: {"features": n.conv(x), "out": n(x)}),
    "a dataclass": lambda: wrapped(lambda n, x: Answer(n(x))),
    "a model output": lambda: wrapped(lambda n, x: ModelOutput(logits=n(x), hidden_states=(x, n.conv(x)))),
    "an object": lambda: wrapped(lambda n, x: types.SimpleNamespace(logits=n(x), loss=None)),
    "a dict in a tuple": lambda: wrapped(lambda n, x: ({"logits": n(x)}, None)),
    "the same tensor twice": lambda: wrapped(lambda n, x: (lambda z: {"a": z, "b": z})(n(x))),
    "four axes": lambda: wrapped(lambda n, x: n(x)[:, :, None, None]),
    "not contiguous": lambda: wrapped(lambda n, x: n(x).T.contiguous().T),
    "memory that is used again": lambda: wrapped(lambda n, x: _reused(n(x))),
    "scripted": lambda: torch.jit.script(plain()),
    "traced": lambda: traced(),
    "a scripted part": lambda: wrapped(lambda n, x: n(x), torch.jit.script(plain())),
    "compiled": lambda: torch.compile(plain(), backend="eager"),
    "a compiled part": lambda: wrapped(lambda n, x: n(x), torch.compile(plain(), backend="eager")),
    "compiled in place": compiled_in_place,
    "a compiled forward": decorated,
    "parallel": lambda: nn.DataParallel(plain()),
    "float16": of(torch.float16),
    "bfloat16": of(torch.bfloat16),
    "float64": of(torch.float64),
    "float32 on its way": lambda: wrapped(lambda n, x: n.fc(n.relu(n.conv(x)).float().mul(2).flatten(1))),
    "calls counted": Counting,
    "eval returns nothing": silent,
    "computed weights": spectral,
    "another last bit each time": Rounding,
    "logits of the scale 1e-4": lambda: wrapped(lambda n, x: n(x) * 1e-4),
}


class BatchOfOne(nn.Module):
    def __init__(self, rows=1):
        super().__init__()
        self.net, self.rows = plain(), rows

    def forward(self, x):
        return self.net.fc(self.net.relu(self.net.conv(x)).view(self.rows, 256))


class Cut(Plain):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Overwritten(Plain):
    """Forward works, backward does not: what the sigmoid needs is written over."""

    def forward(self, x):
        z = torch.sigmoid(self.conv(x))
        y = z.mul_(2)
        return self.fc(y.view(x.size(0), -1))


class Uncopied(Plain):
    def __init__(self):
        super().__init__()
        self.log = (line for line in ())


def loaded(kind):
    net = kind()
    net.load_state_dict(_weights())
    return net.eval()


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3)).eval()


def meta():
    with torch.device("meta"):
        return Plain().eval()


def training():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))


def lost(n, x):
    z = n(x)
    return z if len(z) < 3 else z[:-1]


REFUSED = {
    "several parts": (
        lambda: wrapped(lambda n, x: (lambda z: {"main": z, "aux": -z})(n(x))),
        "several of its parts may be .*'main', 'aux'.*output='logits:main'",
    ),
    "two outputs of a tuple": (lambda: wrapped(lambda n, x: (lambda z: (z, -z))(n(x))), r"'0', '1'.*\?output=logits:0"),
    "no part of the right shape": (
        lambda: wrapped(lambda n, x: {"a": n(x)[:, :2], "b": x}),
        r"a float32 \(2, 2\), b float32",
    ),
    "probabilities": (lambda: wrapped(lambda n, x: n(x).softmax(1)), "Declare output='probabilities'"),
    "numbers of classes": (
        lambda: wrapped(lambda n, x: n(x).argmax(1)),
        "Return the logits, not the number of the class",
    ),
    "complex": (lambda: wrapped(lambda n, x: n(x) + 0j), "complex64"),
    "another number of classes": (lambda: wrapped(lambda n, x: torch.cat([n(x), n(x)], 1)), r"gives 6 output\(s\)"),
    "no classes": (lambda: wrapped(lambda n, x: n.conv(x)), r"shape \(2, 4, 8, 8\)"),
    "numpy": (lambda: wrapped(lambda n, x: n(x).detach().numpy()), "torch.from_numpy"),
    "lists of numbers": (lambda: wrapped(lambda n, x: n(x).tolist()), "gave a list with no tensor"),
    "a list of rows": (lambda: wrapped(lambda n, x: list(n(x).unbind())), "torch.stack"),
    "nothing": (lambda: wrapped(lambda n, x: None), "gave a NoneType"),
    "on the meta device": (meta, "'conv.weight' is on the meta device.*load its"),
    "lazy": (lazy, "lazy layer that never saw an image"),
    "in training mode": (training, "model.eval"),
    "one image alone": (lambda: BatchOfOne().eval(), "answers one image alone and failed on 2"),
    "a fixed batch": (lambda: BatchOfOne(4).eval(), "answers batches of 4 and failed on 2"),
    "a fixed batch of two": (lambda: BatchOfOne(2).eval(), r"answers batches of 2 and failed on \d\d"),
    "a trace of a fixed batch": (
        lambda: torch.jit.trace(BatchOfOne(2).eval(), torch.rand(2, *SHAPE)),
        "answers batches of 2 and failed",
    ),
    "lost rows": (lambda: wrapped(lost), "must answer every image once"),
    "no gradient": (lambda: loaded(Cut), "no gradient.*no_grad"),
    "a gradient that fails": (lambda: loaded(Overwritten), "cannot be computed: .*inplace"),
    "two arguments": (lambda: wrapped(lambda n, x, y: n(x)), "forward takes the images alone"),
    "cannot be copied": (lambda: loaded(Uncopied), "cannot be copied.*attribution.maps"),
}
