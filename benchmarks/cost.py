"""What a run over many pictures takes in machines, hours and bytes, and what it waits for: put in your own figures.

    python benchmarks/cost.py                                     # 1.28 million pictures, ResNet-50, processors
    python benchmarks/cost.py --pictures 1e9 --bytes 60e3 --cores 32 --hours 168
    python benchmarks/cost.py --pictures 1e9 --gpu 2000 --cores 16 --network-mb 1000

The defaults are what `benchmarks/batch.py stages` measured for ResNet-50 (see docs/scale.md); ``--gpu`` is how many
pictures a second one device does, of which nothing was measured here: it is arithmetic. A machine does as many pictures
as the slowest of its parts: its processors (reading, and without a GPU the network too), its device, and its share of
the storage. What many machines do to a storage that they share is not in it.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

SHARD = 1024


@dataclass(frozen=True)
class Cost:
    """What is known of pictures and machines; times are milliseconds of one processor."""

    pictures: float
    targets: int
    reading: float  # decoding and preparing a picture
    network: float  # the forward pass and the maps of all targets
    measuring: float  # box, peak and row, of a target
    writing: float  # of a row
    picture_bytes: float
    row_bytes: float
    path_bytes: float  # in the listing
    listing_bytes: float  # in memory, while the listing is made
    listing_ms: float
    cores: int
    gpu: float  # pictures a second of one device, 0 for none
    network_mb: float  # megabytes a second between a machine and the storage
    start: float  # seconds before the first picture

    @property
    def rates(self) -> dict[str, float]:
        """Pictures a second of a machine, by what limits them."""
        rows = self.targets * (self.measuring + self.writing)
        own = self.reading + rows + (0.0 if self.gpu else self.network)
        moved = self.picture_bytes + self.targets * self.row_bytes
        rates = {"processors": 1000 * self.cores / own, "storage": self.network_mb * 1e6 / moved}
        return rates | ({"device": self.gpu} if self.gpu else {})

    def table(self, hours: float) -> list[tuple[str, str]]:
        """What it comes to."""
        slowest = min(self.rates, key=self.rates.__getitem__)
        alone = self.pictures / self.rates[slowest] / 3600
        machines = max(1, math.ceil(alone / hours))
        shard = SHARD / self.rates[slowest]
        return [
            *((f"pictures/s, {name}", f"{rate:,.1f}") for name, rate in self.rates.items()),
            ("it waits for", slowest),
            ("hours of one machine", f"{alone:,.1f}"),
            (f"machines, for {hours:g} hours", f"{machines:,}"),
            ("hours of processors", f"{alone * self.cores:,.0f}"),
            ("a start, of the whole", f"{self.start / 3600 / (alone / machines):.2%}"),
            ("lost with a kill, about, seconds", f"{shard:,.1f}"),
            ("read, GB", f"{self.pictures * self.picture_bytes / 1e9:,.0f}"),
            ("kept, GB", f"{self.pictures * self.targets * self.row_bytes / 1e9:,.2f}"),
            ("shards", f"{self.pictures / SHARD:,.0f}"),
            ("listing.arrow, MB", f"{self.pictures * self.path_bytes / 1e6:,.0f}"),
            ("memory of who lists, GB", f"{self.pictures * self.listing_bytes / 1e9:,.1f}"),
            ("listing, minutes", f"{self.pictures * self.listing_ms / 6e4:,.1f}"),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value, help in (
        ("pictures", 1.28e6, ""),
        ("targets", 1, "of each picture"),
        ("reading", 9.1, "ms: decoding and preparing"),
        ("network", 129.0, "ms: forward pass and maps of all targets"),
        ("measuring", 1.3, "ms of a target"),
        ("writing", 0.02, "ms of a row"),
        ("bytes", 110e3, "of a picture's file"),
        ("row-bytes", 147, "of a row"),
        ("path-bytes", 51, "of a path in listing.arrow"),
        ("listing-bytes", 1026, "of memory for a path as it is listed"),
        ("listing-ms", 0.018, "of a path, of a folder on this machine"),
        ("cores", 2, "of a machine"),
        ("gpu", 0, "pictures a second of a device; 0: none"),
        ("network-mb", 100, "megabytes a second between a machine and the storage"),
        ("start", 11, "seconds before the first picture"),
        ("hours", 24, "in which it is to be done"),
    ):
        parser.add_argument(f"--{name}", type=float, default=value, help=f"{help} (default: %(default)g)".strip())
    given = vars(parser.parse_args())
    hours, size = given.pop("hours"), given.pop("bytes")
    whole = {name: int(given.pop(name)) for name in ("targets", "cores")}
    for name, value in Cost(**given, **whole, picture_bytes=size).table(hours):
        print(f"{name:<36} {value:>14}")


if __name__ == "__main__":
    main()
