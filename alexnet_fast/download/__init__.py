"""Archives from an https address: checked, limited, unpacked safely, kept in the user's cache folder."""
