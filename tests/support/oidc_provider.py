"""An OpenID Connect provider, as far as a blueapi asks one; run with the Python of its environment: port as argument.

``GET /token?for_s=60`` is what a login gives: an access token that holds for so many seconds.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

URL = f"http://127.0.0.1:{sys.argv[1]}"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWK = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "1", "use": "sig", "alg": "RS256"}
DISCOVERY = {
    "issuer": URL,
    "jwks_uri": f"{URL}/jwks",
    "authorization_endpoint": f"{URL}/authorize",
    "token_endpoint": f"{URL}/token",
    "device_authorization_endpoint": f"{URL}/device",
    "end_session_endpoint": f"{URL}/logout",
    "id_token_signing_alg_values_supported": ["RS256"],
}


def token(for_s):
    now = int(time.time())
    claims = {"iss": URL, "aud": "blueapi", "sub": "agents", "fedid": "abc12345", "iat": now, "exp": now + for_s}
    return jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "1"})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = urlsplit(self.path)
        found = {
            "/.well-known/openid-configuration": lambda: DISCOVERY,
            "/jwks": lambda: {"keys": [JWK]},
            "/token": lambda: {"access_token": token(int(parse_qs(asked.query).get("for_s", ["60"])[0]))},
        }.get(asked.path, dict)()
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
