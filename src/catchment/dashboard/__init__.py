"""The dashboard: pages for people, rendered here, over the verbs of the venue."""
