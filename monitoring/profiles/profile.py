"""The profile of a table: small, mergeable, and all that later analyses need of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monitoring.profiles.columns import ColumnProfile
from monitoring.profiles.encoding import decode, encode


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a table with `rows` rows."""

    rows: int = 0
    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)
    """By name, in the order of the table."""

    def merge(self, other: Profile) -> Profile:
        """The profile of the rows of both; a column that one of them lacks is missing in its rows."""
        return merge(self, other)

    def to_bytes(self) -> bytes:
        """The profile as a file; equal profiles give equal bytes."""
        return encode(self.rows, tuple(self.columns.values()))

    @classmethod
    def from_bytes(cls, content: bytes) -> Profile:
        """A profile from `to_bytes`.

        Raises:
            ProfileUnreadable: these are not such bytes, not all of them, or of another version.
        """
        rows, columns = decode(content)
        return cls(rows, {column.name: column for column in columns})

    def without(self, *names: str) -> Profile:
        """The profile without some columns."""
        return replace(self, columns={k: v for k, v in self.columns.items() if k not in names})


def merge(*profiles: Profile) -> Profile:
    """One profile of the rows of all; the empty profile of none.

    Merging many at once is quicker and more exact than one after another.
    """
    filled = [profile for profile in profiles if profile.rows] or [*profiles[:1]]
    if len(filled) < 2:
        return filled[0] if filled else Profile()
    names = list(dict.fromkeys(name for profile in filled for name in profile.columns))
    columns = {name: ColumnProfile.union([_column(each, name) for each in filled]) for name in names}
    return Profile(sum(profile.rows for profile in filled), columns)


def _column(profile: Profile, name: str) -> ColumnProfile:
    return profile.columns.get(name) or ColumnProfile(name, 0, profile.rows)
