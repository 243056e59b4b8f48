"""Which configuration of an autotuned kernel runs: a policy, since nothing can be timed here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from verify.triton_cpu.private import Autotuner

Choice = Callable[[Any, Sequence[Any]], Any]
Policy = Literal["first", "last", "random"] | Choice
"""A name, or a function of (autotuner, its configurations after pruning) that returns one of them."""


class Tuner:
    """Runs autotuned kernels without timing them.

    A configuration that a library has put into the autotuner's cache itself (fla keeps files of them) is
    used as on a device; otherwise the policy chooses among what `prune_configs` leaves. As on a device,
    `reset_to_zero` and a pre-hook act before the first run of a key only, and a configuration's own pre-hook
    before every run.
    """

    def __init__(self, policy: Policy = "first", seed: int = 0) -> None:
        if not callable(policy) and policy not in ("first", "last", "random"):
            raise ValueError(
                f"expected a policy 'first', 'last', 'random' or a function, got {policy!r}. "
                "A function takes (autotuner, configurations)."
            )
        self._policy = policy
        self._random = random.Random(seed)  # noqa: S311  # a choice among configurations, not a secret
        self._chosen: dict[tuple[Any, ...], Any] = {}
        self._alive: dict[int, Any] = {}  # ids of autotuners stay theirs while a choice is remembered

    def run(self, autotuner: Any, *args: Any, **kwargs: Any) -> Any:
        """What replaces `Autotuner.run`."""
        autotuner.nargs = dict(zip(autotuner.arg_names, args, strict=False))
        config, first = self._configuration(autotuner, kwargs)
        autotuner.best_config = config
        everything = {**autotuner.nargs, **kwargs, **config.all_kwargs()}
        if first:
            autotuner.pre_hook(everything, reset_only=True)
        if config.pre_hook is not None:
            config.pre_hook(everything)
        result = autotuner.fn.run(*args, **kwargs, **config.all_kwargs())
        autotuner.nargs = None
        return result

    def _configuration(self, autotuner: Any, kwargs: dict[str, Any]) -> tuple[Any, bool]:
        if len(autotuner.configs) == 1:
            return autotuner.configs[0], False
        key = _key(autotuner, kwargs)
        if key in autotuner.cache:
            return autotuner.cache[key], False
        mine = (id(autotuner), *key)
        if mine in self._chosen:
            return self._chosen[mine], False
        self._alive[id(autotuner)] = autotuner
        config = self._chosen[mine] = self._choose(autotuner, list(autotuner.prune_configs(kwargs)))
        return config, True

    def _choose(self, autotuner: Any, configs: list[Any]) -> Any:
        if callable(self._policy):
            return self._policy(autotuner, configs)
        if self._policy == "random":
            return self._random.choice(configs)
        return configs[-1 if self._policy == "last" else 0]


def _key(autotuner: Any, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The key under which the autotuner itself would remember its choice."""
    given = {
        name: value for name, value in {**autotuner.nargs, **kwargs}.items() if name in autotuner.arg_names
    }
    key = [given[name] for name in autotuner.keys if name in given]
    key += [str(value.dtype) for value in given.values() if hasattr(value, "dtype")]
    return tuple(key)


def tolerant_init(original: Callable[..., None]) -> Callable[..., None]:
    """`Autotuner.__init__` that drops names of `key=` which the kernel does not have.

    Triton 3.9 refuses them when a module is imported; libraries written for older ones carry some.
    """

    def initialise(
        self: Autotuner, fn: Any, arg_names: Sequence[str], configs: Any, key: Any, *args: Any, **kwargs: Any
    ) -> None:
        original(self, fn, arg_names, configs, [name for name in key if name in arg_names], *args, **kwargs)

    return initialise
