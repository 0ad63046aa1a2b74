"""Makes a container in Azurite, with the key that its documentation gives to everybody.

usage: make_container.py NAME
"""
import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.request

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

name = sys.argv[1]
date = email.utils.formatdate(usegmt=True)
version = "2021-08-06"
headers = f"x-ms-date:{date}\nx-ms-version:{version}"
resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
text = "PUT" + "\n" * 12 + f"{headers}\n{resource}"
digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
request = urllib.request.Request(
    f"http://127.0.0.1:10000/{ACCOUNT}/{name}?restype=container",
    method="PUT",
    data=b"",
    headers={
        "x-ms-date": date,
        "x-ms-version": version,
        "Content-Type": "",
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    },
)
urllib.request.urlopen(request)
