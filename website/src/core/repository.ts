// The GitHub repository that takes submissions: from the build, else from the address of a GitHub Pages site.

const NAME = /^[A-Za-z0-9][\w.-]*\/[\w.-]+$/;

/** `owner/name`, or null where neither the build nor the address tells it. */
export function repository(): string | null {
  if (NAME.test(REPOSITORY)) return REPOSITORY;
  const owner = /^([a-z0-9-]+)\.github\.io$/i.exec(location.hostname)?.[1];
  const name = location.pathname.split('/')[1];
  return owner !== undefined && name !== undefined && NAME.test(`${owner}/${name}`) && !name.endsWith('.html') ? `${owner}/${name}` : null;
}

export function issuesUrl(repo: string | null): string | null {
  return repo === null || !NAME.test(repo) ? null : `https://github.com/${repo}/issues`;
}
