// Runs `oidc-provider` as told by a JSON object on standard input; its own pages log people in.
//
// installed  the folder with its node_modules
// port       where it listens, on this machine alone
// people     what it says of each person, by the login that is typed
// clients    who may ask it, as the provider takes them
// jwks       its private keys
// settings   more of the provider's own settings
// swapped    true: hands everybody the ID token that `other` got last
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const told = JSON.parse(await text(process.stdin));
const found = createRequire(`${told.installed}/`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(found));

const issuer = `http://127.0.0.1:${told.port}`;
const provider = new Provider(issuer, {
  clients: told.clients,
  jwks: told.jwks,
  cookies: { keys: ['of a test'] },
  pkce: { required: () => true },
  claims: { profile: ['groups'], email: ['email', 'email_verified'] },
  findAccount: (_, id) => id in told.people && {
    accountId: id,
    claims: () => ({ sub: id, ...told.people[id] }),
  },
  ...told.settings,
});

let kept;
provider.use(async (ctx, next) => {
  await next();
  if (ctx.path !== '/token' || !ctx.body.id_token) return;
  if (ctx.oidc.client.clientId === 'other') kept = ctx.body.id_token;
  else if (told.swapped) ctx.body.id_token = kept;
});
provider.listen(told.port, '127.0.0.1', () => console.log(issuer));
