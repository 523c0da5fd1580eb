"""`python -m rendezvous_health`."""

from rendezvous_health import main

raise SystemExit(main())
