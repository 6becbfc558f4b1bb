"""How a run of a pipeline moves what its stages give: bounded pipes, inboxes, conversations kept between runs."""
