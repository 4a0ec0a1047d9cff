"""The specialist: the plan for the data and hardware at hand, and the small network that is trained."""
