"""Downloads over real HTTP: whole or not at all, resumed, bounded, from allowed hosts only, silent about secrets."""
