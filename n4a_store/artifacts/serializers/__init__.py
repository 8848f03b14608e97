"""Objects to payloads and back, by a table of serializers chosen by object."""
