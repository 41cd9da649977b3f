import { useId } from "react";

/** The mark of Terrarium, as in assets: a seedling behind glass. Its colours are its own in both themes. */
export function Logo({ size = 20 }: { size?: number }) {
  const clip = useId();
  return (
    <svg width={size} height={size} viewBox="0 0 64 64" aria-hidden="true" className="st">
      <defs>
        <clipPath id={clip}>
          <rect x="5" y="5" width="54" height="54" rx="11.5" />
        </clipPath>
      </defs>
      <rect width="64" height="64" rx="16" fill="#1c4133" />
      <path clipPath={`url(#${clip})`} d="M0 47c14-4 24 1 36-1s18-3 28-1v19H0Z" fill="#7b6a4c" />
      <rect x="5" y="5" width="54" height="54" rx="11.5" fill="none" stroke="#d9f3e8" strokeWidth="3.5" />
      <path d="M32 50V28" stroke="#a5cf77" strokeWidth="5.5" strokeLinecap="round" fill="none" />
      <path d="M32 38c0-11-7-17-20-17 0 11 7 17 20 17Z" fill="#a5cf77" />
      <path d="M32 32c0-11 7-18 20-18 0 12-7 18-20 18Z" fill="#cdeaa6" />
    </svg>
  );
}
