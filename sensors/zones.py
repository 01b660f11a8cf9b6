"""Zones of vibration severity: how broadband vibration of a machine's non-rotating parts is judged, as rms velocity in
mm/s.

Zone A is where new machines usually lie, B is fit for unrestricted long-term operation, C for a limited time only, D is
severe enough to cause damage. The boundary B/C makes a limit to warn at, C/D one to alarm at.

The figures are those commonly published from the standards; the standard itself is the authority: it says where and how
to measure, which machines a table is for, and that what was agreed for a machine, or learned of it, comes first.
"""

from dataclasses import dataclass

UNIT = "mm/s"
GROUPS = "ISO 20816-3:2022, as before in ISO 10816-3:2009, tables A.1 and A.2"
CLASSES = "ISO 10816-1:1995, annex B; its successor ISO 20816-1:2016 gives ranges instead of classes"


@dataclass(frozen=True)
class MachineClass:
    """A row of a standard's table: the machines it is for, and where one zone becomes the next, in mm/s rms."""

    name: str
    machines: str
    source: str
    a_b: float
    b_c: float
    c_d: float

    def zone(self, velocity: float) -> str:
        """The zone of an rms velocity in mm/s.

        >>> MACHINE_CLASSES["group 2 rigid"].zone(3.1)
        'C'
        """
        return "ABCD"[sum(velocity > boundary for boundary in (self.a_b, self.b_c, self.c_d))]


LARGE = "Large machines, 300 kW to 50 MW; electrical machines with a shaft height of 315 mm and more"
MEDIUM = "Medium-sized machines, 15 to 300 kW; electrical machines with a shaft height of 160 to 315 mm"
MACHINE_CLASSES = {
    "group 1 rigid": MachineClass("Group 1, rigid support", LARGE, GROUPS, 2.3, 4.5, 7.1),
    "group 1 flexible": MachineClass("Group 1, flexible support", LARGE, GROUPS, 3.5, 7.1, 11.0),
    "group 2 rigid": MachineClass("Group 2, rigid support", MEDIUM, GROUPS, 1.4, 2.8, 4.5),
    "group 2 flexible": MachineClass("Group 2, flexible support", MEDIUM, GROUPS, 2.3, 4.5, 7.1),
    "class I": MachineClass("Class I", "Small machines and motors up to 15 kW", CLASSES, 0.71, 1.8, 4.5),
    "class II": MachineClass(
        "Class II",
        "Medium-sized machines, 15 to 75 kW; up to 300 kW when rigidly mounted on special foundations",
        CLASSES,
        *(1.12, 2.8, 7.1),
    ),
    "class III": MachineClass("Class III", "Large machines on rigid and heavy foundations", CLASSES, 1.8, 4.5, 11.2),
    "class IV": MachineClass("Class IV", "Large machines on relatively soft foundations", CLASSES, 2.8, 7.1, 18.0),
}
CHOICES = [(key, f"{row.name}: {row.machines}") for key, row in MACHINE_CLASSES.items()]
