"""Train what a retraining request asks for, on a machine of its own: a worker of the API."""
