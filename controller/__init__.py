"""The process that stays alive: an event loop, listening sockets, a pid. No protocol rule lives here."""
