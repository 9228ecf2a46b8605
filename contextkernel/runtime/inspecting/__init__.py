"""Parts of the document that ``inspect`` shows for a container, by what they are about."""
