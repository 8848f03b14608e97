"""A compact pipeline runner: trains, branches, stacks and predicts through the store.

scikit-learn is not needed to import it, and an estimator is whatever has the right methods.
"""
