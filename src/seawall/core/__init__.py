"""The words every part of Seawall shares; pure values, no I/O."""
