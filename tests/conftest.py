pytest_plugins = ["sneframe.testing"]
