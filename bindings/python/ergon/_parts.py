# SPDX-License-Identifier: Apache-2.0
"""Parts of the machine by the numbers that other tools call them: CPU packages 0, 1, ... and GPUs as a
framework counts them, after CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES. What is only estimated is no part
here: the tools whose shape this serves have no word for it."""
from __future__ import annotations

import ctypes
import os
import re
import warnings
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .errors import ErgonError
from .model import Account, Entry, Measurement

GIVEN = ("measured", "modeled")
NVIDIA, AMD = ("nvml", "dcgm"), ("amd_smi", "amdgpu", "rocm_smi")
VISIBLE_MAX = 1024  #: entries of a list of visible devices
#: Not the energy of a part of its own: the same again by another interface, or no reading.
NOT_OWN = ("crosscheck", "unusable")
MISSING = ("gap", "device_lost")
NUMBER = re.compile("([0-9]{1,18})")  # no digits of other scripts, and no more of them than int() takes


def natural(text: str) -> List[Tuple[int, str]]:
    """For sorting: package-2 before package-10."""
    return [(int(piece), "") if i % 2 else (-1, piece) for i, piece in enumerate(NUMBER.split(text))]


@dataclass(frozen=True)
class Gpu:
    device: str
    number: int  #: as its library counts it, before any list of visible devices
    source: str

    @property
    def uuid(self) -> Optional[str]:
        return self.device[4:] if self.device.startswith("gpu-GPU-") else None


@dataclass(frozen=True)
class Parts:
    """cpus, drams, gpus: devices by index. A package without a DRAM counter has None."""

    cpus: Tuple[str, ...] = ()
    drams: Tuple[Optional[str], ...] = ()
    gpus: Tuple[Gpu, ...] = ()
    psys: Optional[str] = None


def _own(account: Account) -> bool:
    return account.provenance in GIVEN and not account.held and account.role not in NOT_OWN


def find(accounts: Iterable[Account], environ: Optional[Mapping[str, str]] = None) -> Parts:
    """The parts of a machine with these accounts, for a program with this environment."""
    accounts = [account for account in accounts if _own(account)]
    packages = sorted({a.device for a in accounts if a.component == "package"}, key=natural)
    with_dram = {a.device for a in accounts if a.component == "dram"}
    psys = next((a.device for a in accounts if a.component == "psys"), None)
    return Parts(tuple(packages), tuple(d if d in with_dram else None for d in packages),
                 tuple(visible(all_gpus(accounts), os.environ if environ is None else environ)), psys)


def all_gpus(accounts: Iterable[Account]) -> List[Gpu]:
    """GPUs of one maker, as frameworks see them: NVIDIA's where there are any, else AMD's, else the
    others."""
    found: Dict[str, Account] = {a.device: a for a in accounts if a.component == "gpu"}
    inside = [d for d in found if any(d != other and d.startswith(other + "-") for other in found)]
    for device in inside:  # a package of a card is in the card's own figure
        del found[device]
    for sources in (NVIDIA, AMD, None):
        own = {d: a for d, a in found.items() if sources is None or a.source in sources}
        if own:
            break
    else:
        return []
    gpus = []
    for order, (device, account) in enumerate(own.items()):
        number = re.search(r"/gpu-([0-9]{1,9})$", account.channel or "")
        gpus.append(Gpu(device, int(number.group(1)) if number else order, account.source))
    return sorted(gpus, key=lambda gpu: gpu.number)


def visible(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> List[Gpu]:
    """Those that a framework in this environment sees, in its order. As CUDA reads it, the list ends at the
    first entry that names no device. A MIG device stands for the GPU it is cut from, because energy is
    counted for whole GPUs; a GPU is there once, so that nothing is added twice."""
    amd = bool(gpus) and gpus[0].source in AMD
    names = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES") if amd else ("CUDA_VISIBLE_DEVICES",)
    value = next((environ[name] for name in names if name in environ), None)
    if value is None or gpus and gpus[0].source not in NVIDIA + AMD:
        return list(gpus)
    chosen: List[Gpu] = []
    for word in value.split(",", VISIBLE_MAX)[:VISIBLE_MAX]:
        gpu = _named(word.strip(), gpus)
        if gpu is None:
            break
        if gpu not in chosen:
            chosen.append(gpu)
    return chosen


def _named(word: str, gpus: Sequence[Gpu]) -> Optional[Gpu]:
    if word.startswith("MIG-"):
        return _of_mig(word, gpus)
    if NUMBER.fullmatch(word):
        return next((gpu for gpu in gpus if gpu.number == int(word)), None)
    if not word.startswith("GPU-"):
        return None
    same = [gpu for gpu in gpus if gpu.uuid is not None and gpu.uuid.startswith(word)]
    return same[0] if len(same) == 1 else None  # an abbreviation has to be unique


def _of_mig(word: str, gpus: Sequence[Gpu]) -> Optional[Gpu]:
    old = re.match(r"MIG-(GPU-[^/]+)/\d+/\d+$", word)  # before driver 470
    uuid = old.group(1) if old else _mig_parent(word)
    gpu = next((gpu for gpu in gpus if uuid is not None and gpu.uuid == uuid), None)
    if gpu is None and len(gpus) == 1:
        gpu = gpus[0]
    if gpu is None:
        warnings.warn(f"ergon: which GPU {word} is cut from cannot be told, so it is not measured",
                      RuntimeWarning, stacklevel=2)
    else:
        warnings.warn(f"ergon: energy is counted for whole GPUs: for {word} that of GPU {gpu.number} "
                      "is given",
                      RuntimeWarning, stacklevel=2)
    return gpu


def _mig_parent(uuid: str) -> Optional[str]:
    """The UUID of the GPU that a MIG device is cut from, of NVML in a session of its own."""
    try:
        nvml: Any = ctypes.CDLL("libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() != 0:
            return None
    except (OSError, AttributeError):
        return None
    try:
        mig, gpu = ctypes.c_void_p(), ctypes.c_void_p()
        text = ctypes.create_string_buffer(96)
        if nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(mig)) == 0 and \
                nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig, ctypes.byref(gpu)) == 0 and \
                nvml.nvmlDeviceGetUUID(gpu, text, 96) == 0:
            return text.value.decode("ascii", "replace")
        return None
    except AttributeError:
        return None
    finally:
        nvml.nvmlShutdown()


@dataclass(frozen=True)
class Figure:
    """What one part used."""

    microjoules: int
    flags: Tuple[str, ...] = ()
    method: Optional[str] = None
    uncertainty_joules: Optional[float] = None
    provenance: Optional[str] = None

    @property
    def joules(self) -> float:
        return self.microjoules / 1e6

    @property
    def partial(self) -> bool:
        return any(flag in MISSING for flag in self.flags)


def figure(m: Measurement, device: str, component: str) -> Optional[Figure]:
    """The energy of one part in a measurement, joules held over lost readings with it; None where not
    known."""
    main: Optional[Entry] = None
    held: List[Entry] = []
    for entry in m.entries:
        if entry.device != device or entry.component != component or entry.microjoules is None or \
                entry.role in NOT_OWN:
            continue
        if entry.provenance not in GIVEN and not entry.estimated_microjoules:
            continue  # a model's estimate; held readings are told apart by their part of the energy
        if entry.microjoules and entry.microjoules == entry.estimated_microjoules:
            held.append(entry)  # an account of its own, or a channel that only lost readings
        elif main is None or entry.counted and not main.counted:
            main = entry
    if main is None:
        if not held:
            return None
        main = held.pop(0)
    return Figure((main.microjoules or 0) + sum(entry.microjoules or 0 for entry in held), main.flags,
                  main.method, main.uncertainty_joules, main.provenance)


def sum_figures(figures: Iterable[Optional[Figure]]) -> Optional[Figure]:
    """Of parts that do not overlap; None where one is not known, or there is none."""
    known = []
    for one in figures:
        if one is None:
            return None
        known.append(one)
    if not known:
        return None
    unsure = [one.uncertainty_joules for one in known if one.uncertainty_joules is not None]
    methods = {one.method for one in known}
    words = {one.provenance for one in known}
    return Figure(sum(one.microjoules for one in known), tuple(dict.fromkeys(f for one in known
                                                                             for f in one.flags)),
                  methods.pop() if len(methods) == 1 else None,
                  sum(unsure) if len(unsure) == len(known) else None,  # gain errors of one interface add up
                  words.pop() if len(words) == 1 else "modeled")


def of_source(source: Any, environ: Optional[Mapping[str, str]] = None) -> Parts:
    """The parts that a source shows; none where it cannot be asked."""
    try:
        return find(source.accounts(), environ)
    except ErgonError:
        return Parts()

