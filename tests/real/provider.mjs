// A real authorization server for the tests: oidc-provider over TLS, issuing access tokens bound to the
// certificate of the client that asks (RFC 8705 §3), as JWTs in every algorithm or opaque with introspection.
//
// usage: node provider.mjs CONFIG.json
//   {port, adminPort, certificate, key, clientAuthority, audience, scopes, lifetime, clients,
//   dpopNonces}   (files by path)
//
// The admin port (loopback, plain HTTP, not part of OAuth): POST /rotate replaces every signing key,
// POST /rotate?keep=1 adds new ones and signs with them while the old stay in the JWKS; GET /ready answers 200.

import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import Provider from 'oidc-provider';

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const issuer = `https://localhost:${config.port}`;

// RFC 7518 §3.1, RFC 8037, RFC 9864: each algorithm has its own key.
const KEYS = {
  ES256: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  PS256: () => crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }),
  RS256: () => crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: () => crypto.generateKeyPairSync('ed25519'),
  Ed25519: () => crypto.generateKeyPairSync('ed25519'),
};

let generation = 0;
const makeKeys = () => {
  generation += 1;
  return Object.entries(KEYS).map(([alg, make]) => ({
    ...make().privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg.toLowerCase()}-${generation}`,
  }));
};

// The resource `<audience>/<format>` says how the token for <audience> looks: an algorithm, or `opaque`.
const resourceServer = (ctx, resource) => {
  const format = resource.slice(config.audience.length + 1);
  const scope = config.scopes.join(' ');
  const common = { scope, audience: config.audience, accessTokenTTL: config.lifetime };
  if (format === 'opaque') return { ...common, accessTokenFormat: 'opaque' };
  if (!(format in KEYS)) throw new Error(`no such resource: ${resource}`);
  return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: format } } };
};

// RFC 8705 §2.1.2; the two members the tests use.
const certificateSubjectMatches = (ctx, property, expected) => {
  const certificate = ctx.socket.getPeerX509Certificate();
  if (property === 'tls_client_auth_subject_dn') return certificate.subject === expected;
  if (property === 'tls_client_auth_san_dns') {
    return (certificate.subjectAltName ?? '').split(', ').includes(`DNS:${expected}`);
  }
  throw new Error(`not asked for in these tests: ${property}`);
};

const makeProvider = (keys) => new Provider(issuer, {
  clients: config.clients,
  jwks: { keys },
  scopes: config.scopes,
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth',
    'self_signed_tls_client_auth',
  ],
  enabledJWA: {
    clientAuthSigningAlgValues: ['ES256', 'PS256', 'RS256', 'EdDSA', 'Ed25519'],
    idTokenSigningAlgValues: Object.keys(KEYS),
    introspectionSigningAlgValues: ['ES256', 'PS256', 'RS256'],
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true },
    dPoP: { enabled: true, nonceSecret: crypto.randomBytes(32), requireNonce: () => config.dpopNonces },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => `${config.audience}/ES256`,
      getResourceServerInfo: resourceServer,
    },
  },
});

let keys = makeKeys();
let handle = makeProvider(keys).callback();

const rotate = (keep) => {
  const fresh = makeKeys();
  keys = keep ? [...fresh, ...keys] : fresh;
  handle = makeProvider(keys).callback();
};

https.createServer({
  cert: fs.readFileSync(config.certificate),
  key: fs.readFileSync(config.key),
  ca: fs.readFileSync(config.clientAuthority),
  requestCert: true,
  rejectUnauthorized: false, // self-signed clients are known by thumbprint (RFC 8705 §2.2.2)
}, (request, response) => handle(request, response)).listen(config.port, '127.0.0.1');

http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://admin');
  if (request.method === 'POST' && pathname === '/rotate') rotate(searchParams.has('keep'));
  response.writeHead(['/rotate', '/ready'].includes(pathname) ? 200 : 404).end();
}).listen(config.adminPort, '127.0.0.1');

process.on('SIGTERM', () => process.exit(0));
