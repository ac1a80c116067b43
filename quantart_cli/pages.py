from quantart_cli.scratch import LARGE, alloc_scratch as apart, release as let_go, resident_bytes as held
