"""Looks into Azurite or moto, with nothing but HTTP.

usage: client.py azure|s3 make CONTAINER
       client.py azure|s3 digest CONTAINER PREFIX         prints name, size and SHA-256 of each object
       client.py azure|s3 fetch CONTAINER PREFIX FOLDER   writes each object below the folder

Account and key are those of the environment, by the names that the probe reads.
"""
import base64
import email.utils
import hashlib
import hmac
import os
import pathlib
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as xml

kind, action, container, *rest = sys.argv[1:]


def azure(method, path, query):
    account = os.environ["AZURE_STORAGE_ACCOUNT_NAME"]
    key = base64.b64decode(os.environ["AZURE_STORAGE_ACCOUNT_KEY"])
    url = f"{os.environ['AZURE_STORAGE_ENDPOINT']}/{path}"
    date = email.utils.formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    resource = f"/{account}{urllib.parse.urlparse(url).path}"
    resource += "".join(f"\n{name}:{query[name]}" for name in sorted(query))
    named = "\n".join(f"{name}:{headers[name]}" for name in sorted(headers))
    text = f"{method}" + "\n" * 12 + f"{named}\n{resource}"
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    return url, headers


def s3(method, path, query):
    # moto looks for a signature, and does not check it.
    date = "20260101/us-east-1/s3/aws4_request"
    signed = f"AWS4-HMAC-SHA256 Credential=test/{date}, SignedHeaders=host, Signature=0"
    return f"{os.environ['AWS_ENDPOINT']}/{path}", {"Authorization": signed}


def ask(method, path, query=None):
    query = query or {}
    url, headers = (azure if kind == "azure" else s3)(method, urllib.parse.quote(path, safe="/="), query)
    if query:
        url += "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
    data = None
    if method == "PUT":
        data, headers["Content-Type"] = b"", ""
    request = urllib.request.Request(url, method=method, data=data, headers=headers)
    return urllib.request.urlopen(request)


def names(prefix):
    more = {}
    while True:
        if kind == "azure":
            query = {"restype": "container", "comp": "list", "prefix": prefix} | more
            page = xml.fromstring(ask("GET", container, query).read().decode("utf-8-sig"))
            yield from (blob.findtext("Name") for blob in page.iter("Blob"))
            more = {"marker": page.findtext("NextMarker")}
        else:
            query = {"list-type": "2", "prefix": prefix} | more
            page = xml.fromstring(ask("GET", container, query).read())
            of = "{http://s3.amazonaws.com/doc/2006-03-01/}"
            yield from (found.findtext(f"{of}Key") for found in page.iter(f"{of}Contents"))
            more = {"continuation-token": page.findtext(f"{of}NextContinuationToken")}
        if not all(more.values()):
            return


if action == "make":
    ask("PUT", container, {"restype": "container"} if kind == "azure" else None)
else:
    prefix = rest[0] + "/"
    for name in names(prefix):
        below = name.removeprefix(prefix)
        with ask("GET", f"{container}/{name}") as answer:
            body = answer.read()
        if action == "digest":
            print(below, len(body), hashlib.sha256(body).hexdigest(), sep="\t")
        else:
            path = pathlib.Path(rest[1]) / below
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
