// SPDX-License-Identifier: Apache-2.0
//
// The route of a request, as the pattern that the program declared; never the path that a client sent. What
// a framework does not tell is OTHER. A raw path that took part in a mount is turned back into
// its pattern, or left out.

export const OTHER = 'other';

function text(pattern) {
  if (Array.isArray(pattern))
    return pattern.map(text).join('|');
  return String(pattern);
}

/** What a layer of an Express router matches of a path, or null: of 4 the layer itself has it, of 5 the answer. */
function matchOf(layer, path) {
  const answer = layer.route || typeof layer.match !== 'function' ? null : layer.match(path);
  if (!answer)
    return null;
  const match = typeof answer === 'object' ? answer : layer;
  return match.path && match.path !== '/' ? match : null;
}

/** The pattern of a match; of older layers, which keep none, what was matched with its parameters put back. */
function patternOf(layer, match) {
  if (typeof match.pattern === 'string')
    return match.pattern;
  if (typeof layer.rawPath === 'string')
    return layer.rawPath;
  const values = new Map(Object.entries(match.params ?? {}).map(([name, value]) => [String(value), name]));
  return match.path.split('/').map((segment) => {
    let plain = segment;
    try {
      plain = decodeURIComponent(segment);
    } catch {
      // as it is
    }
    return plain !== '' && values.has(plain) ? `:${values.get(plain)}` : segment;
  }).join('/');
}

/** The pattern of what an Express application consumed of a path, to the mounted router that answered. */
function mountPattern(stack, base) {
  for (const layer of stack ?? []) {
    const match = matchOf(layer, base);
    if (!match)
      continue;
    const rest = base.slice(match.path.length);
    const pattern = patternOf(layer, match);
    if (rest === '')
      return pattern;
    if (!rest.startsWith('/'))
      continue;
    const deeper = mountPattern(layer.handle?.stack, rest);
    // A mounted application does not show its layers.
    return deeper === null ? `${pattern}/*` : pattern + deeper;
  }
  return null;
}

/** Of an Express request that has been answered; app is the application of the middleware. */
export function expressRoute(req, app) {
  if (!req.route)
    return OTHER;
  const own = text(req.route.path);
  if (!req.baseUrl)
    return own;
  const stack = (app?._router ?? app?.router)?.stack;
  const mount = mountPattern(stack, req.baseUrl) ?? '*';
  return own === '/' ? mount : mount + own;
}

/** Of a Fastify request. */
export function fastifyRoute(request) {
  return request.routeOptions?.url ?? (request.routeOptions ? OTHER : request.routerPath ?? OTHER);
}
