"""The user-data stream: a websocket that tells an account's events, in the order of its records."""
