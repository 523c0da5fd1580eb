"""Prepares the languages beside Python: finds or installs tools, builds what is ours, keeps builds outside the tree."""
