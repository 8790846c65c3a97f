"""Addresses that look like an allowed host, or hide one that is not, for announcements and for downloads."""

ALLOWED = "hist.gex.bot"
# {port} is one on loopback where somebody listens who must not be asked.
HOSTILE_ORIGINS = [
    # loopback by another name
    "http://2130706433:{port}", "https://2130706433:{port}", "http://0x7f.1:{port}", "http://0x7f000001:{port}",
    "http://0177.0.0.1:{port}", "http://017700000001:{port}", "http://127.1:{port}", "http://127.0.1:{port}",
    "http://0:{port}", "http://0.0.0.0:{port}", "http://127.0.0.1.:{port}", "http://localhost.:{port}",
    "http://127.0.0.2:{port}", "http://[::1]:{port}", "http://[::ffff:127.0.0.1]:{port}", "http://[::]:{port}",
    "http://[::ffff:7f00:1]:{port}", "http://[::1%25lo]:{port}", "http://[0:0:0:0:0:0:0:1]:{port}",
    "http://127.0.0.1%2e:{port}", "http://%31%32%37.0.0.1:{port}", "http://\uff11\uff12\uff17.0.0.1:{port}",
    "http://\u2460\u2461\u2466.0.0.1:{port}", "HTTP://LOCALHOST:{port}", "http://169.254.169.254",
    # an allowed name that is not the host
    "https://hist.gex.bot@127.0.0.1:{port}", "https://hist.gex.bot:443@127.0.0.1:{port}", "https://@hist.gex.bot",
    "https://:@hist.gex.bot", "https://hist.gex.bot%40127.0.0.1:{port}", "https://hist.gex.bot\\@127.0.0.1:{port}",
    "https://127.0.0.1:{port}\\@hist.gex.bot", "https://127.0.0.1:{port}\\.hist.gex.bot",
    "https:\\\\127.0.0.1:{port}", "https://127.0.0.1:{port}#@hist.gex.bot", "https://127.0.0.1:{port}?@hist.gex.bot",
    "https://127.0.0.1:{port}/@hist.gex.bot", "https://hist.gex.bot.127.0.0.1.nip.io:{port}",
    "https://hist.gex.bot\t.example.com", "https://hist.gex.bot\r\n.example.com", "https://hist.gex.bot\0.example.com",
    "https://hist.gex.bot%00.example.com", "https://hist.gex.bot%2e.example.com", "https://hist.gex.bot;.example.com",
    # almost an allowed host
    "https://hist.gex.bot.", "https://hist.gex.bot..", "https://.hist.gex.bot", "https://hist%2egex%2ebot",
    "https://\uff48ist.gex.bot", "https://hist\u3002gex\u3002bot", "https://h\u0131st.gex.bot", "https://hist.gex.b\u043et",

    "https://xn--hst-nna.gex.bot", "https://hist.gex.bot\u200b", "https://hist.gex.bot ", "https:// hist.gex.bot",
    "https://[hist.gex.bot]", "https://hist.gex.bot:0", "https://hist.gex.bot:", "https://hist.gex.bot:80",
    "https://hist.gex.bot:443:443", "https://hist.gex.bot:+443", "https://hist.gex.bot:\uff14\uff14\uff13",
    "https://hist.gex.bot:65979", "https://hist.gex.bot:-1", "https://hist-gex.bot", "https://histXgex.bot",
    # another scheme, or none
    "http://hist.gex.bot", "http://hist.gex.bot:443", "ftp://hist.gex.bot", "file://hist.gex.bot",
    "gopher://hist.gex.bot", "httpss://hist.gex.bot", "https:hist.gex.bot", "https:/hist.gex.bot", "https:///hist.gex.bot",
    "javascript:https://hist.gex.bot",
    "unix:/run/a.sock", "//hist.gex.bot", "://hist.gex.bot", "",
]  # fmt: skip
