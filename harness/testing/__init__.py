"""What the pytest plugin is made of: the pool of labs, the records of scenarios, the summary at the end."""
