"""The tests of lossfast: properties of every registered loss, and facts of single ones."""
