// Clients of DPoP (RFC 9449) as others wrote them: each gets a token bound to a new key by client credentials, and
// presents it, with a proof for each request, to the API.
//
// usage: node dpop_clients.mjs LIBRARY ALGORITHM CONFIG.json      (CA file in NODE_EXTRA_CA_CERTS)
//   LIBRARY: dpop | oauth4webapi | openid-client
//   CONFIG: {issuer, clientId, secret, tokenResource, scope, requests: [{method, url, body}]}
// Prints {tokenType, token, thumbprint, answers: [{status, nonce, challenge, body}]}: what the library's caller sees.

import * as fs from 'node:fs';
import * as dpop from 'dpop';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';

const [library, algorithm, file] = process.argv.slice(2);
const config = JSON.parse(fs.readFileSync(file, 'utf8'));
const parameters = { resource: config.tokenResource, scope: config.scope };

const seen = async (response) => ({
  status: response.status,
  nonce: response.headers.get('dpop-nonce'),
  challenge: response.headers.get('www-authenticate'),
  body: await response.text(),
});

// The bare proofs: whoever uses this library does the rest alone, nonces included (RFC 9449 §8, §9).
async function bare() {
  const pair = await dpop.generateKeyPair(algorithm);
  const endpoint = `${config.issuer}/token`;
  const basic = Buffer.from(`${config.clientId}:${config.secret}`).toString('base64');
  const ask = async (nonce) =>
    fetch(endpoint, {
      method: 'POST',
      headers: {
        authorization: `Basic ${basic}`,
        dpop: await dpop.generateProof(pair, endpoint, 'POST', nonce),
      },
      body: new URLSearchParams({ grant_type: 'client_credentials', ...parameters }),
    });
  let response = await ask();
  if (response.status === 400) response = await ask(response.headers.get('dpop-nonce'));
  const { access_token: token, token_type: tokenType } = await response.json();
  const answers = [];
  let nonce;
  for (const { method, url, body } of config.requests) {
    const request = async () => {
      const proof = await dpop.generateProof(pair, url.split('?')[0], method, nonce, token);
      return fetch(url, { method, body, headers: { authorization: `DPoP ${token}`, dpop: proof } });
    };
    let answer = await seen(await request());
    nonce = answer.nonce ?? nonce;
    if (answer.status === 401 && answer.challenge.includes('use_dpop_nonce')) answer = await seen(await request());
    answers.push(answer);
  }
  return { tokenType, token, thumbprint: await dpop.calculateThumbprint(pair.publicKey), answers };
}

async function again(ask) {
  try {
    return await ask();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return ask(); // the handle has the nonce by now
  }
}

async function low() {
  const issuer = new URL(config.issuer);
  const found = await oauth.discoveryRequest(issuer);
  const server = await oauth.processDiscoveryResponse(issuer, found);
  const client = { client_id: config.clientId };
  const pair = await oauth.generateKeyPair(algorithm);
  const DPoP = oauth.DPoP(client, pair);
  const authentication = oauth.ClientSecretBasic(config.secret);
  const tokens = await again(async () => {
    const asked = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, { DPoP });
    return oauth.processClientCredentialsResponse(server, client, asked);
  });
  const answers = [];
  for (const { method, url, body } of config.requests) {
    const ask = () => oauth.protectedResourceRequest(tokens.access_token, method, new URL(url), undefined, body, { DPoP });
    try {
      answers.push(await seen(await again(ask)));
    } catch (error) {
      if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
      answers.push({ ...(await seen(error.response)), parsed: error.cause });
    }
  }
  return {
    tokenType: tokens.token_type, token: tokens.access_token, thumbprint: await DPoP.calculateThumbprint(), answers,
  };
}

async function high() {
  const client = await openid.discovery(
    new URL(config.issuer), config.clientId, undefined, openid.ClientSecretBasic(config.secret),
  );
  const pair = await openid.randomDPoPKeyPair(algorithm);
  const DPoP = openid.getDPoPHandle(client, pair);
  const tokens = await openid.clientCredentialsGrant(client, parameters, { DPoP });
  const answers = [];
  for (const { method, url, body } of config.requests) {
    try {
      const answer = await openid.fetchProtectedResource(
        client, tokens.access_token, new URL(url), method, body, undefined, { DPoP },
      );
      answers.push(await seen(answer));
    } catch (error) {
      if (!(error instanceof openid.WWWAuthenticateChallengeError)) throw error;
      answers.push({ ...(await seen(error.response)), parsed: error.cause });
    }
  }
  return {
    tokenType: tokens.token_type, token: tokens.access_token, thumbprint: await DPoP.calculateThumbprint(), answers,
  };
}

const play = { dpop: bare, oauth4webapi: low, 'openid-client': high }[library];
console.log(JSON.stringify(await play()));
