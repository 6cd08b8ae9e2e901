// A real authorization server that cannot do mutual TLS: oidc-provider over plain HTTP, behind the sidecar. It learns of
// a client's certificate from a header field (RFC 9440), or of its client from a secret or an assertion.
//
// usage: node fronted.mjs CONFIG.json
//   {port, issuer, audience, scopes, lifetime, clients}
//
// POST /-/mode?name=as_it_stands (for the tests alone) lets it hash the text of the field, as servers were seen to do;
// `right` ends that.

import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as http from 'node:http';
import Provider from 'oidc-provider';

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
let mode = 'right';

const key = {
  ...crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
  alg: 'ES256', use: 'sig', kid: 'es256',
};

const resourceServer = (ctx, resource) => {
  const format = resource.slice(config.audience.length + 1);
  const common = { scope: config.scopes.join(' '), audience: config.audience, accessTokenTTL: config.lifetime };
  if (format === 'opaque') return { ...common, accessTokenFormat: 'opaque' };
  return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
};

// RFC 9440 §2.2: a Byte Sequence of the DER.
const certificateOf = (ctx) => {
  const value = ctx.get('client-cert');
  if (!value) return undefined;
  return new crypto.X509Certificate(Buffer.from(value.slice(1, -1), 'base64'));
};

const getCertificate = (ctx) => {
  const certificate = certificateOf(ctx);
  if (!certificate || mode === 'right') return certificate;
  return Object.defineProperty(certificate, 'raw', { value: Buffer.from(ctx.get('client-cert')) });
};

// The sidecar verified the chain and compared the name: it says so in a field that it takes out of what clients send.
const isVerified = (ctx) => ctx.get('x-client-verified') === 'SUCCESS';

const provider = new Provider(config.issuer, {
  clients: config.clients,
  jwks: { keys: [key] },
  scopes: config.scopes,
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth',
  ],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'PS256', 'RS256', 'EdDSA', 'Ed25519'] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    dPoP: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate,
      certificateAuthorized: isVerified,
      certificateSubjectMatches: isVerified,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => `${config.audience}/ES256`,
      getResourceServerInfo: resourceServer,
    },
  },
});
provider.proxy = true; // X-Forwarded-Proto: the URLs in the metadata and of DPoP proofs begin with https

const handle = provider.callback();
http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://server');
  if (!pathname.startsWith('/-/')) {
    handle(request, response);
    return;
  }
  if (pathname === '/-/mode') mode = searchParams.get('name');
  response.writeHead(200).end();
}).listen(config.port, '127.0.0.1');

process.on('SIGTERM', () => process.exit(0));
