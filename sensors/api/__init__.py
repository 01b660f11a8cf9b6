"""The API of sites, sensors and readings, and what the APIs of all apps are built from."""
