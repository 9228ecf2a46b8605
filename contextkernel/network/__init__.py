"""Networks of containers: plans, addresses, links, names and published ports."""
