"""Target ``coreai``: ``.aimodel`` assets for Apple's Core AI, from iOS and macOS 27 on."""
