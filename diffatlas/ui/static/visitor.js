// The cookie by which the server knows whose layers these are.

const NAME = "diffatlas_visitor";
const YEAR = 365 * 24 * 3600;

/** Make sure that this browser has its secret: 128 random bits. */
export function ensureVisitor() {
  if (new RegExp(`(^|; )${NAME}=[0-9a-f]{32}(;|$)`).test(document.cookie)) return;
  const bits = crypto.getRandomValues(new Uint8Array(16));
  const secret = Array.from(bits, (byte) => byte.toString(16).padStart(2, "0")).join("");
  // A Space is shown in a frame of another site, where only such a cookie is kept.
  const reach = location.protocol === "https:" ? "SameSite=None; Secure; Partitioned" : "SameSite=Lax";
  document.cookie = `${NAME}=${secret}; Path=/; Max-Age=${YEAR}; ${reach}`;
}
