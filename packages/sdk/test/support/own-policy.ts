/** A customer's policy that has rules of its own, and none for books. */
export const OWN_POLICY = `// the customer's own
{
  "tagOwners": { "tag:bifrost-book": ["autogroup:admin"], "tag:office": [] },
  "grants": [{ "src": ["tag:office"], "dst": ["tag:office"], "ip": ["*"] }],
}
`;
