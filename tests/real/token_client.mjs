// Client libraries at a token endpoint with mutual TLS: reads {library, issuer, clientId, ca, cert, key, parameters} as
// JSON from standard input, asks for a token by client credentials, prints {token} or how the library tells of the
// refusal: {name, code, error, status}.

import { readFileSync } from 'node:fs';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { Agent, fetch } from 'undici';

const script = JSON.parse(readFileSync(0, 'utf8'));
const { issuer, clientId, ca, cert, key, parameters } = script;
const dispatcher = new Agent({ connect: { ca, cert, key } });
const withCertificate = (url, options) => fetch(url, { ...options, dispatcher });

async function openidClient() {
  const config = await openid.discovery(new URL(issuer), clientId, { use_mtls_endpoint_aliases: true }, openid.TlsClientAuth(), {
    [openid.customFetch]: withCertificate,
  });
  const answer = await openid.clientCredentialsGrant(config, parameters);
  return answer.access_token;
}

async function oauth4webapi() {
  const options = { [oauth.customFetch]: withCertificate };
  const found = await oauth.discoveryRequest(new URL(issuer), options);
  const server = await oauth.processDiscoveryResponse(new URL(issuer), found);
  const client = { client_id: clientId, use_mtls_endpoint_aliases: true };
  const response = await oauth.clientCredentialsGrantRequest(server, client, oauth.TlsClientAuth(), parameters, options);
  const answer = await oauth.processClientCredentialsResponse(server, client, response);
  return answer.access_token;
}

const ask = { 'openid-client': openidClient, oauth4webapi }[script.library];
try {
  process.stdout.write(JSON.stringify({ token: await ask() }));
} catch (problem) {
  const { name, code, error, status } = problem;
  process.stdout.write(JSON.stringify({ name, code, error, status: status ?? problem.cause?.status }));
}
await dispatcher.close();
